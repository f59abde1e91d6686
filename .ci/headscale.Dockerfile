# Stands in for headscale/headscale: one program and nothing else. The context is its folder.
FROM scratch
COPY headscale /ko-app/headscale
ENV PATH=/ko-app
ENTRYPOINT ["/ko-app/headscale"]
