# A Go program on Debian slim: docker build -f go-example/docker/debian.Dockerfile examples/go
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN go mod edit -dropreplace=github.com/sigward/sigward/go \
        -droprequire=github.com/sigward/sigward/go && \
    go get github.com/sigward/sigward/go@v0.1.0
RUN go build -trimpath -o /program ./first

FROM debian:bookworm-slim
COPY --from=build /program /program
USER 65534:65534
ENTRYPOINT ["/program"]
