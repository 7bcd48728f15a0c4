# One image for the services, provisioning and the commands. The command of each container in
# compose.yaml is a task of deno.json.
FROM denoland/deno:2.9.6

ENV DENO_NO_UPDATE_CHECK=1
WORKDIR /app
COPY deno.json deno.lock ./
COPY shared ./shared
COPY ingest ./ingest
COPY live ./live
COPY royalty ./royalty
COPY dlq-triage ./dlq-triage

# Fetches all dependencies of the lock file, so that a container starts without network access and
# with a read-only file system.
RUN deno install --frozen --entrypoint \
  shared/provision/main.ts \
  ingest/main.ts \
  live/main.ts \
  live/pager/main.ts \
  live/commands/alerts.ts \
  royalty/main.ts \
  royalty/closing/thread_main.ts \
  royalty/cli.ts \
  dlq-triage/main.ts \
  dlq-triage/cli.ts

# Mount points of volumes must belong to the user that writes to them.
RUN mkdir statements recount && chown deno:deno statements recount

# A number, so that Kubernetes can see that it is not root: `deno` of the base image.
USER 1993:1993
CMD ["deno", "task"]
