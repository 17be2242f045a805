# A Go program on Alpine: docker build -f go-example/docker/alpine.Dockerfile examples/go
FROM golang:1.26-alpine AS build
RUN apk add --no-cache gcc musl-dev
WORKDIR /src
COPY . .
RUN go mod edit -dropreplace=github.com/sigward/sigward/go \
        -droprequire=github.com/sigward/sigward/go && \
    go get github.com/sigward/sigward/go@v0.1.0
RUN go build -trimpath -ldflags '-linkmode external -extldflags -static-libgcc' -o /program ./first

FROM alpine:3.22
COPY --from=build /program /program
USER 65534:65534
ENTRYPOINT ["/program"]
