# One static binary in an empty image. To build it: docker build -t proxmox-mcp .
FROM rust:1.95-slim-bookworm AS build
# musl's compiler for the C parts of ring; the certificate authorities for the image.
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN target=$(uname -m)-unknown-linux-musl && rustup target add "$target" \
 && mkdir .cargo && printf '[build]\ntarget = "%s"\n' "$target" > .cargo/config.toml
# Dependencies first: this layer is made anew only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches && echo 'fn main() {}' | tee src/main.rs > benches/calls.rs && touch src/lib.rs \
 && cargo build --release --locked --bin proxmox-mcp
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin proxmox-mcp
# Everything that the image holds.
RUN mkdir -p /image/etc/ssl/certs /empty \
 && cp target/*-unknown-linux-musl/release/proxmox-mcp /image/proxmox-mcp \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
# Its name in the MCP registry: io.github.OWNER/proxmox-mcp.
ARG MCP_SERVER_NAME=proxmox-mcp
LABEL org.opencontainers.image.title="proxmox-mcp" \
      org.opencontainers.image.description="MCP server, REST API and CLI that let an AI agent run a Proxmox VE cluster safely" \
      org.opencontainers.image.licenses="MIT" \
      io.modelcontextprotocol.server.name="${MCP_SERVER_NAME}"
COPY --from=build /image/ /
# For what is kept, such as an audit log and records of calls that were cut off: mount a volume here.
COPY --from=build --chown=65532:65532 /empty/ /data/
# Somebody without a name or rights.
USER 65532:65532
WORKDIR /data
# Settings, not flags, so that a .env can change them, and `health` knows them too.
ENV PROXMOX_MCP_HTTP=0.0.0.0:8812 \
    PROXMOX_MCP_REST=0.0.0.0:8811 \
    PROXMOX_STATE_DIR=/data/state \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 8812 8811
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["/proxmox-mcp", "health"]
ENTRYPOINT ["/proxmox-mcp"]
CMD ["serve"]
