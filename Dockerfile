# polyhead with its models, built by `make image`. Each base image can be replaced, by a mirror's or
# an own one: --build-arg RUST_IMAGE=… and so on.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${PYTHON_IMAGE} AS models
WORKDIR /src
COPY models/pins.ini models/fetch.py models/
RUN python3 models/fetch.py

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The dependencies are a layer of their own, built around an empty program: a change of polyhead's
# sources does not build them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked \
    && cargo clean --release --package polyhead && rm -r src
COPY . .
RUN cargo build --release --locked

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="polyhead" \
      org.opencontainers.image.description="Sentence embeddings and many task heads on one shared encoder, learning while it serves" \
      org.opencontainers.image.licenses="Apache-2.0"

# A fixed number, so that an orchestrator can tell that this is not root, and own a volume by it.
RUN groupadd --gid 10001 polyhead \
    && useradd --uid 10001 --gid polyhead --no-log-init --no-create-home --home-dir /data \
               --shell /usr/sbin/nologin polyhead \
    && install --directory --owner=polyhead --group=polyhead /data

# The paths in config.toml start here.
WORKDIR /opt/polyhead
COPY --from=models /src/lib lib
COPY --from=models /src/models/all-MiniLM-L6-v2 models/all-MiniLM-L6-v2
COPY --from=models /src/models/bge-small-en-v1.5 models/bge-small-en-v1.5
COPY LICENSE ./
COPY config.toml /etc/polyhead/config.toml
COPY --from=build /src/target/release/polyhead /usr/local/bin/polyhead

# ORT_DISABLE_TELEMETRY: ONNX Runtime's library reads it when it is loaded.
ENV ORT_DISABLE_TELEMETRY=1 \
    POLYHEAD__SERVER__LISTEN=0.0.0.0:8080 \
    POLYHEAD__STORE__URL=sqlite:///data/polyhead.db

USER 10001:10001
# Head versions, jobs and examples. All else may be read-only.
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["polyhead", "health"]
ENTRYPOINT ["polyhead"]
CMD ["serve", "--config", "/etc/polyhead/config.toml"]
