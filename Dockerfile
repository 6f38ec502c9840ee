# The container fw-k6: the runner, k6 with this project's modules, the suite "chat" with its scripts and its reference service.
#
#   docker build --tag fw-k6:latest .
#   docker run --rm --env VUS=200 --env DURATION=1m --volume fw-k6-evidence:/evidence fw-k6:latest
#
# All images are arguments, so that a build can take those of a registry of its own.
ARG BASE_IMAGE=debian:bookworm-20250520-slim
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG GO_IMAGE=golang:1.26.0-bookworm

FROM ${GO_IMAGE} AS go

FROM ${RUST_IMAGE} AS build
COPY --from=go /usr/local/go /usr/local/go
# The image's own Rust is the pinned one; the parts that only lint are not fetched.
ENV PATH=/usr/local/go/bin:$PATH \
    RUSTUP_TOOLCHAIN=1.95.0 \
    GOTOOLCHAIN=local
WORKDIR /src
COPY . .
RUN make k6 binaries PROGRAMS="barrier-bench chat-service"
RUN install -D -t /out/app/bin bin/barrier-bench bin/chat-service \
    && install -t /out/app k6 \
    && install -d /out/app/bench/suites /out/evidence \
    && cp bench/suites/chat.toml /out/app/bench/suites/ \
    && cp --parents -r js/chat js/lib /out/app/

# Nothing is run in this stage: any base with the C library of the build stage will do.
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="fw-k6" \
      org.opencontainers.image.description="Chat streaming SLO suite: k6 with barriers, and the runner that judges" \
      org.opencontainers.image.licenses="Apache-2.0"
# For addresses that are https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/app /opt/k6-barrier
COPY --from=build --chown=10001:10001 /out/evidence /evidence
WORKDIR /opt/k6-barrier
ENV PATH=/opt/k6-barrier/bin:/opt/k6-barrier:/usr/local/bin:/usr/bin:/bin \
    EVIDENCE_ROOT=/evidence
USER 10001:10001
VOLUME /evidence
ENTRYPOINT ["barrier-bench"]
CMD ["run", "chat"]
