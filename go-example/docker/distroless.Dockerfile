# A static Go program on distroless, which has no C library:
# docker build -f go-example/docker/distroless.Dockerfile examples/go
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN go mod edit -dropreplace=github.com/sigward/sigward/go \
        -droprequire=github.com/sigward/sigward/go && \
    go get github.com/sigward/sigward/go@v0.1.0
RUN go build -trimpath -tags netgo,osusergo \
    -ldflags '-linkmode external -extldflags -static' -o /program ./first

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /program /program
ENTRYPOINT ["/program"]
