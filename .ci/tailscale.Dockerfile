# Stands in for tailscale/tailscale. The context is the folder of the three programs.
ARG ROOT_IMAGE
FROM ${ROOT_IMAGE}
RUN ln -s /bin/busybox /usr/local/bin/wget
COPY tailscale tailscaled containerboot /usr/local/bin/
CMD ["/usr/local/bin/containerboot"]
