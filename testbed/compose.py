"""The Compose files of a cluster, for any number of validators. The committed ones are those of three.

    docker-compose.yml               the cluster on a tailnet with its own control server
    docker-compose.bridge.yml        laid over it: a plain bridge network, no Tailscale
    docker-compose.own-tailnet.yml   laid over it: the user's own tailnet (TS_AUTHKEY), no control server

`python -m testbed.compose` writes them into the current folder.
"""

from __future__ import annotations

import string
from pathlib import Path

DEFAULT_VALIDATORS = 3
MAX_VALIDATORS = 50
PORT_STEP = 1000
"""The published ports of one validator are this far above those of the one before."""


class _Template(string.Template):
    """Compose has the dollar for its own variables."""

    delimiter = "%"


_CLUSTER = _Template("""\
# A mesh and %count validators on a tailnet of their own. Written by `make compose` from testbed/compose.py.
#
#   docker compose up --build        start, approve, write the genesis, make blocks
#   docker compose down --volumes    stop, and forget everything
#
# Each member is three containers: the anchor owns the network (addresses, names, published ports) and never restarts;
# the Tailscale sidecar and the service live in the anchor's network, so that either may restart alone. A service waits
# by itself until its sidecar is on the tailnet. Health checks are for people, and seldom: each costs a process.
# docs/docker.md says what runs where, docs/tailnet.md how to use a tailnet of your own.

x-image: &image
  image: ${TANA_IMAGE:-tana:local}
  pull_policy: never

x-build: &build
  context: .
  args: &build-arguments
    BASE_IMAGE: ${BASE_IMAGE:-python:3.13.13-slim-trixie}
  secrets: [ca, pip_conf]

x-one-shot: &one-shot
  <<: *image
  restart: "no"
  healthcheck: {disable: true}

x-anchor: &anchor
  <<: *image
  command: [sleep, infinity]
  restart: unless-stopped
  healthcheck: {disable: true}
  networks: [underlay]

x-sidecar: &sidecar
  image: ${TAILSCALE_IMAGE:-tailscale/tailscale:v1.102.3}
  restart: unless-stopped
  cap_add: [NET_ADMIN, NET_RAW]
  devices: [/dev/net/tun]
  healthcheck:
    test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:9002/healthz"]
    interval: 5s
    timeout: 3s

x-sidecar-environment: &sidecar-environment
  TS_USERSPACE: "false"
  TS_AUTHKEY: file:/bootstrap/key
  TS_AUTH_ONCE: "true"
  TS_STATE_DIR: /var/lib/tailscale
  TS_SOCKET: /var/run/tailscale/tailscaled.sock
  TS_EXTRA_ARGS: --login-server=https://headscale:8443
  TS_TAILSCALED_EXTRA_ARGS: --port=41641
  TS_ACCEPT_DNS: "false"
  TS_ENABLE_HEALTH_CHECK: "true"
  TS_LOCAL_ADDR_PORT: 127.0.0.1:9002
  TS_NO_LOGS_NO_SUPPORT: "true"
  TS_DISABLE_PORTMAPPER: "1"
  TS_PANIC_IF_HIT_MAIN_CONTROL: "1"
  # The control server answers on its HTTPS port only. Refused on port 80, a sidecar asks the internet for its name.
  TS_FORCE_NOISE_443: "1"
  SSL_CERT_FILE: /bootstrap/ca.crt

x-service: &service
  <<: *image
  restart: unless-stopped
  cap_drop: [ALL]
  security_opt: [no-new-privileges:true]

x-validator-environment: &validator-environment
  MESH_URL: http://mesh:8190
  TANA_TAILSCALE_SOCKET: /var/run/tailscale/tailscaled.sock
  TANA_CONFIG_DIR: /data/config
  TANA_DATA_DIR: /data/node
  TANA_HEARTBEAT_INTERVAL_MS: ${TANA_HEARTBEAT_INTERVAL_MS:-}
  TANA_EMPTY_BLOCK_INTERVAL_MS: ${TANA_EMPTY_BLOCK_INTERVAL_MS:-}
  TANA_LOG_FORMAT: ${TANA_LOG_FORMAT:-}
  TANA_LOG_LEVEL: ${TANA_LOG_LEVEL:-}

services:
  # ---- the control server of the tailnet

  control-certificate:
    <<: *one-shot
    command: [make-ca, headscale]
    network_mode: none
    volumes:
      - bootstrap:/bootstrap
      - control:/control

  headscale:
    image: ${HEADSCALE_IMAGE:-headscale/headscale:0.29.2}
    command: [serve]
    restart: unless-stopped
    depends_on:
      control-certificate: {condition: service_completed_successfully}
    networks: [underlay]
    volumes:
      - ./docker/headscale.yaml:/etc/headscale/config.yaml:ro
      - control:/control:ro
      - headscale-data:/var/lib/headscale
      - headscale-socket:/var/run/headscale
    healthcheck:
      test: [CMD, /ko-app/headscale, health]
      interval: 10s
      timeout: 5s

  auth-key:
    <<: *one-shot
    image: ${TANA_BOOTSTRAP_IMAGE:-tana-bootstrap:local}
    build:
      <<: *build
      target: bootstrap
      args:
        <<: *build-arguments
        HEADSCALE_IMAGE: ${HEADSCALE_IMAGE:-headscale/headscale:0.29.2}
    command: [make-auth-key, headscale, "8443"]
    networks: [underlay]
    depends_on:
      headscale: {condition: service_started}
    volumes:
      - ./docker/headscale.yaml:/etc/headscale/config.yaml:ro
      - headscale-socket:/var/run/headscale
      - bootstrap:/bootstrap

  # ---- the sovereign: its key before all else, its decisions once everybody has registered

  sovereign-key:
    <<: *one-shot
    build: *build
    command: [make-sovereign]
    network_mode: none
    environment: &sovereign-environment
      TANA_CONFIG_DIR: /sovereign
      TANA_SOVEREIGN: ${TANA_SOVEREIGN:-}
    volumes: &sovereign-volumes
      - sovereign:/sovereign
      - trust:/trust

  sovereign:
    <<: *one-shot
    command: [tana, found-chain%founded]
    network_mode: service:mesh-anchor
    depends_on:
      mesh: {condition: service_started}
    environment:
      <<: *sovereign-environment
      MESH_URL: http://127.0.0.1:8190
    volumes: *sovereign-volumes

  # ---- the mesh

  mesh-anchor:
    <<: *anchor
    hostname: mesh
    networks:
      underlay: {aliases: [mesh]}
    ports:
      - 127.0.0.1:${MESH_PORT-8190}:8190

  mesh-tailscale:
    <<: *sidecar
    network_mode: service:mesh-anchor
    depends_on: &sidecar-needs
      auth-key: {condition: service_completed_successfully}
    environment:
      <<: *sidecar-environment
      TS_HOSTNAME: mesh
    volumes:
      - bootstrap:/bootstrap:ro
      - mesh-tailscale:/var/lib/tailscale
      - mesh-socket:/var/run/tailscale

  mesh:
    <<: *service
    command: [tana, mesh, serve, --sovereign, /trust/sovereign.json, --db, /data/mesh.db]
    network_mode: service:mesh-anchor
    depends_on:
      sovereign-key: {condition: service_completed_successfully}
      mesh-tailscale: {condition: service_started, restart: true}
    environment:
      MESH_TAILSCALE_SOCKET: /var/run/tailscale/tailscaled.sock
      MESH_OFFLINE_AFTER_MS: ${MESH_OFFLINE_AFTER_MS:-}
      TANA_LOG_FORMAT: ${TANA_LOG_FORMAT:-}
      TANA_LOG_LEVEL: ${TANA_LOG_LEVEL:-}
    healthcheck:
      test: [CMD, is-healthy, "8190"]
    volumes:
      - mesh-data:/data
      - mesh-socket:/var/run/tailscale:ro
      - trust:/trust:ro

  # ---- the validators
%validators
networks:
  underlay:

volumes:
  bootstrap:
  control:
  headscale-data:
  headscale-socket:
  sovereign:
  trust:
  mesh-data:
  mesh-tailscale:
  mesh-socket:
%volumes
# For closed networks: a bundle of certificates to trust, and a pip.conf. Empty files otherwise.
secrets:
  ca:
    file: ${TANA_BUILD_CA:-/dev/null}
  pip_conf:
    file: ${TANA_BUILD_PIP_CONF:-/dev/null}
""")

_VALIDATOR = _Template("""
  %name-anchor:
    <<: *anchor
    hostname: %name
    networks:
      underlay: {aliases: [%name]}
    ports:
      - 127.0.0.1:${%{variable}_LEDGER_PORT-%ledger_port}:8080
      - 127.0.0.1:${%{variable}_STATUS_PORT-%status_port}:9001

  %name-tailscale:
    <<: *sidecar
    network_mode: service:%name-anchor
    depends_on: *sidecar-needs
    environment:
      <<: *sidecar-environment
      TS_HOSTNAME: %name
    volumes:
      - bootstrap:/bootstrap:ro
      - %name-tailscale:/var/lib/tailscale
      - %name-socket:/var/run/tailscale

  %name:
    <<: *service
    command: [tana, validator, run, --sovereign, /trust/sovereign.json]
    network_mode: service:%name-anchor
    depends_on:
      sovereign-key: {condition: service_completed_successfully}
      %name-tailscale: {condition: service_started, restart: true}
    environment:
      <<: *validator-environment
      TANA_NODE_ID: %name
    volumes:
      - %name-data:/data
      - %name-socket:/var/run/tailscale:ro
      - trust:/trust:ro
""")

_VALIDATOR_VOLUMES = _Template("""\
  %name-data:
  %name-tailscale:
  %name-socket:
""")

_BRIDGE = _Template("""\
# Laid over docker-compose.yml: a plain bridge network, no Tailscale. Written by `make compose` from testbed/compose.py.
#
#   docker compose -f docker-compose.yml -f docker-compose.bridge.yml up --build

x-left-out: &left-out
  profiles: [tailnet]

services:
  control-certificate: *left-out
  headscale: *left-out
  auth-key: *left-out
  mesh-tailscale: *left-out

  mesh:
    depends_on: !override
      sovereign-key: {condition: service_completed_successfully}
    environment:
      MESH_TAILSCALE_SOCKET: ""
%validators""")

_BRIDGE_VALIDATOR = _Template("""
  %name-tailscale: *left-out

  %name:
    # Without an address of its own in the registration, peers find it by its name.
    command: [tana, validator, run, --sovereign, /trust/sovereign.json, --hostname, %name, --ip, ""]
    depends_on: !override
      sovereign-key: {condition: service_completed_successfully}
    environment:
      TANA_TAILSCALE_SOCKET: ""
      TANA_LISTEN_HOST: 0.0.0.0
""")

_OWN_TAILNET = _Template("""\
# Laid over docker-compose.yml: the user's own tailnet, no control server of ours. Written by `make compose` from
# testbed/compose.py.
#
#   TS_AUTHKEY=tskey-auth-… docker compose -f docker-compose.yml -f docker-compose.own-tailnet.yml up --build

x-left-out: &left-out
  profiles: [headscale]

x-own-environment: &own-environment
  TS_AUTHKEY: ${TS_AUTHKEY:?set TS_AUTHKEY to a reusable auth key of your tailnet}
  TS_EXTRA_ARGS: ${TS_EXTRA_ARGS:-}
  TS_PANIC_IF_HIT_MAIN_CONTROL: ""
  TS_FORCE_NOISE_443: ""
  SSL_CERT_FILE: ""

services:
  control-certificate: *left-out
  headscale: *left-out
  auth-key: *left-out
  mesh-tailscale:
    depends_on: !reset null
    environment: *own-environment
%validators""")

_OWN_TAILNET_VALIDATOR = _Template("""\
  %name-tailscale:
    depends_on: !reset null
    environment: *own-environment
""")


def get_validator_names(validators: int) -> list[str]:
    """validator-1 to validator-N. `validators` is from 1 to `MAX_VALIDATORS`."""
    assert 1 <= validators <= MAX_VALIDATORS, f"{validators} validators: from 1 to {MAX_VALIDATORS}"
    return [f"validator-{number}" for number in range(1, validators + 1)]


def render(validators: int = DEFAULT_VALIDATORS) -> str:
    """docker-compose.yml."""
    names = get_validator_names(validators)
    blocks = [
        _VALIDATOR.substitute(
            name=name,
            variable=name.upper().replace("-", "_"),
            ledger_port=8080 + PORT_STEP * index,
            status_port=9001 + PORT_STEP * index,
        )
        for index, name in enumerate(names)
    ]
    return _CLUSTER.substitute(
        count=validators,
        founded="".join(f", {name}" for name in names),
        validators="".join(blocks),
        volumes="".join(_VALIDATOR_VOLUMES.substitute(name=name) for name in names),
    )


def render_bridge(validators: int = DEFAULT_VALIDATORS) -> str:
    """docker-compose.bridge.yml."""
    blocks = [_BRIDGE_VALIDATOR.substitute(name=name) for name in get_validator_names(validators)]
    return _BRIDGE.substitute(validators="".join(blocks))


def render_own_tailnet(validators: int = DEFAULT_VALIDATORS) -> str:
    """docker-compose.own-tailnet.yml."""
    blocks = [_OWN_TAILNET_VALIDATOR.substitute(name=name) for name in get_validator_names(validators)]
    return _OWN_TAILNET.substitute(validators="".join(blocks))


def render_all(validators: int = DEFAULT_VALIDATORS) -> dict[str, str]:
    """The text of every file by its name."""
    return {
        "docker-compose.yml": render(validators),
        "docker-compose.bridge.yml": render_bridge(validators),
        "docker-compose.own-tailnet.yml": render_own_tailnet(validators),
    }


def write_all(folder: Path, validators: int = DEFAULT_VALIDATORS) -> None:
    """Write every file into a folder."""
    for name, text in render_all(validators).items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write_all(Path())
