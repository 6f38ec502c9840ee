# The container fw-k6: a release archive, with k6 and all modules, the runner, all suites, their reference targets, and a Redis.
#
#   make release
#   docker build --tag fw-k6:latest .
#   docker run --rm --network host --env VUS=200 --env DURATION=1m --volume fw-k6-evidence:/evidence fw-k6:latest
#
# Without BASE_URL it tests the service at http://localhost:4000; as `fw-k6:latest run chat` its own reference service.
#
# Nothing is compiled here. ARCHIVE is another one, such as that of another version; BASE_IMAGE any system with glibc 2.35 or later.
ARG BASE_IMAGE=debian:bookworm-20250520-slim

FROM ${BASE_IMAGE} AS unpacked
ARG ARCHIVE=dist/v0.1.0/k6-barrier-v0.1.0-linux-amd64.tar.gz
COPY ${ARCHIVE} /archive.tar.gz
RUN mkdir -p /out/app /out/evidence && tar xf /archive.tar.gz --directory=/out/app --strip-components=1
# What runs where no command is given is at somebody's service. No ENV says so: it would be that of the other suites as well.
RUN echo BASE_URL=http://localhost:4000 >/out/app/chat.env
# For addresses that are https.
RUN test -s /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update && apt-get install --yes --no-install-recommends ca-certificates; } \
    && cp /etc/ssl/certs/ca-certificates.crt /out

# Nothing is run in this stage.
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="fw-k6" \
      org.opencontainers.image.description="k6 with barriers, the runner that judges, all suites and their reference targets" \
      org.opencontainers.image.licenses="Apache-2.0 AND AGPL-3.0-only"
COPY --from=unpacked /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=unpacked /out/app /opt/k6-barrier
COPY --from=unpacked --chown=10001:10001 /out/evidence /evidence
WORKDIR /opt/k6-barrier
ENV PATH=/opt/k6-barrier/bin:/opt/k6-barrier:/usr/local/bin:/usr/bin:/bin \
    EVIDENCE_ROOT=/evidence
USER 10001:10001
VOLUME /evidence
ENTRYPOINT ["barrier-bench"]
CMD ["run", "chat", "--env-file", "/opt/k6-barrier/chat.env"]
