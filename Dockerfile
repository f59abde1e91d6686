# The one image of every Tana service; a stage more for the one-shot that talks to headscale.
#
# Behind a closed network: --build-arg BASE_IMAGE=…, and two build secrets that leave no trace in the image:
#   --secret id=ca,src=BUNDLE.pem        the certificates to trust while packages are fetched
#   --secret id=pip_conf,src=pip.conf    where packages are fetched from
ARG BASE_IMAGE=python:3.13.13-slim-trixie
ARG HEADSCALE_IMAGE=headscale/headscale:0.29.2

FROM ${BASE_IMAGE} AS build
WORKDIR /build
RUN python3 -m venv /opt/tana
COPY requirements-image.lock ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip_conf \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    export PIP_CONFIG_FILE=/run/secrets/pip_conf && \
    /opt/tana/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY tana tana
COPY testbed testbed
# What only built the package goes again, and pip with it.
RUN /opt/tana/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-index --no-deps --no-build-isolation . && \
    /opt/tana/bin/pip uninstall --quiet --yes hatchling setuptools pip && \
    find /opt/tana -name tests -type d -prune -exec rm -rf {} +

FROM ${BASE_IMAGE} AS runtime
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin tana && \
    install -d -o tana -g tana /data /trust /sovereign /bootstrap /control
ENV PATH=/opt/tana/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /opt/tana /opt/tana
# Slim images come without compiled files of the standard library, and later nobody may write them: what our services
# import is compiled here. It shows at once whether the image works.
RUN python3 -c 'import tana.cli.main, tana.cli.mesh, tana.cli.validator, tana.node.main, tana.mesh.server'
COPY docker/bin/ /usr/local/bin/
ENV PYTHONDONTWRITEBYTECODE=1
USER tana
WORKDIR /data
ENTRYPOINT ["dumb-init", "--"]
CMD ["tana", "--help"]
HEALTHCHECK --interval=5s --timeout=3s CMD ["is-healthy", "9001"]

FROM ${HEADSCALE_IMAGE} AS headscale

FROM runtime AS bootstrap
COPY --from=headscale /ko-app/headscale /usr/local/bin/headscale
HEALTHCHECK NONE

# The last stage is what a plain build makes.
FROM runtime
