# AgentTrace with every backend: one image for all parts. `docker compose up` builds it; see docs/operations.md.
FROM python:3.13.7-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY adapters adapters
COPY entrypoints entrypoints
COPY sdk sdk
COPY contracts contracts
COPY deploy deploy
RUN deploy/install.sh /opt/agenttrace

FROM python:3.13.7-slim-bookworm
COPY --from=build /opt/agenttrace /opt/agenttrace
# A volume that is mounted at one of these for the first time takes over its owner.
RUN install -d -o 10001 -g 10001 /var/lib/agenttrace /setup/agenttrace /setup/minio /setup/postgres /setup/redis
ENV PATH=/opt/agenttrace/bin:$PATH HOME=/var/lib/agenttrace AGENTTRACE_DATA=/var/lib/agenttrace HEALTH_PORT=8000
WORKDIR /var/lib/agenttrace
USER 10001:10001
EXPOSE 4317 4318 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "/opt/agenttrace/deploy/healthy.py"]
ENTRYPOINT ["agenttrace"]
CMD ["up"]
