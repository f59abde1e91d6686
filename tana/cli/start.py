"""`tana start`: a mesh and a validator on this machine, each started when the one before it is well."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tana.cli.accounts import read_signing_key
from tana.cli.found import found_chain
from tana.cli.joining import LOOPBACK, check_port_free, check_sign_state, join, locate, make_settings
from tana.cli.options import DEFAULT_DATA, DataFolderOption, SovereignPublicKey, make_command, show_example
from tana.cli.probes import STUCK, WORKING, probe_mesh, probe_validator
from tana.cli.runfile import RunFile, make_record
from tana.cli.sovereign import find_sovereign
from tana.cli.supervisor import Interrupted, ServiceSpec, Supervisor
from tana.client import keyfiles
from tana.client.mesh import MeshClient
from tana.crypto.keys import KeyPair
from tana.node.settings import ValidatorSettings
from tana.types.errors import SettingsError

app = make_command()


@dataclass(frozen=True)
class Plan:
    """What to run where. `mesh_port` None: somebody else's mesh is used."""

    data: Path
    dev: bool
    mesh_port: int | None
    settings: ValidatorSettings


@app.command(
    epilog=show_example(
        "tana start --dev",
        "tana start --dev --data ./chain --mesh-port 8290 --port-offset 1000",
        "tana start --mesh-url http://mesh:8190 --sovereign ed25519_… --hostname validator-2 --ip 100.64.0.2",
    )
)
def start(
    *,
    dev: Annotated[
        bool, typer.Option("--dev", help="Also be the sovereign: make its key, approve this node, write the genesis.")
    ] = False,
    data: DataFolderOption = DEFAULT_DATA,
    node_id: Annotated[str, typer.Option("--node-id", help="The validator's id.")] = "validator-1",
    mesh_url: Annotated[
        str | None, typer.Option("--mesh-url", help="Use this mesh, and start only the validator.")
    ] = None,
    mesh_port: Annotated[
        int, typer.Option("--mesh-port", envvar="MESH_PORT", min=1, max=65535, help="The port of our mesh.")
    ] = 8190,
    port_offset: Annotated[int, typer.Option("--port-offset", min=0, help="Added to the validator's ports.")] = 0,
    sovereign: SovereignPublicKey = None,
    hostname: Annotated[str | None, typer.Option(help="The validator's name on the tailnet (without --dev).")] = None,
    ip: Annotated[str | None, typer.Option(help="The validator's address on the tailnet (without --dev).")] = None,
) -> None:
    """Start a mesh and a validator, restart what crashes, stop both on Ctrl-C or `tana stop`."""
    data = data.expanduser().absolute()
    settings = make_settings(
        keyfiles.check_name(node_id, "node id"),
        mesh_url=mesh_url or f"http://{LOOPBACK}:{mesh_port}",
        location=locate(dev, hostname, ip),
        port_offset=port_offset,
        data=data / node_id,
        sovereign=_choose_sovereign(sovereign, dev),
    )
    plan = Plan(data, dev, None if mesh_url else mesh_port, settings)
    record = make_record(dev, settings.mesh_url)
    try:
        with Supervisor(RunFile(plan.data), record, plan.data / "logs", say) as supervisor:
            run(plan, supervisor)
    except Interrupted:
        pass
    say("tana", "stopped")


def run(plan: Plan, supervisor: Supervisor) -> None:
    """Start everything in order, then tend it until a signal comes. Raises `Interrupted`, `TanaError`."""
    settings = plan.settings
    check_ports(plan)
    if plan.mesh_port is not None:
        supervisor.launch(make_mesh_spec(plan, plan.mesh_port))
    supervisor.check_interrupted()
    join(settings)
    check_sign_state(settings)
    if plan.dev:
        with MeshClient(settings.mesh_url) as mesh:
            found_chain(mesh, [settings.node_id], keyfiles.read_sovereign_key(), say)
    supervisor.check_interrupted()
    supervisor.launch(make_validator_spec(plan))
    say("tana", f"ready; the ledger is at {get_url(settings, 'ledger')}")
    supervisor.run()


def check_ports(plan: Plan) -> None:
    """Refuse a taken port before anything starts: else another process's answers would be taken for ours."""
    if plan.mesh_port is not None:
        check_port_free(LOOPBACK, plan.mesh_port, "mesh", "--mesh-port")
    for name, port in plan.settings.get_ports().items():
        check_port_free(plan.settings.listen_host, port, f"validator's {name}", "--port-offset")


def get_url(settings: ValidatorSettings, name: str) -> str:
    """Where this machine reaches one of the validator's listeners."""
    host = settings.listen_host
    return f"http://{LOOPBACK if host in ('0.0.0.0', '::') else host}:{settings.get_ports()[name]}"


def make_mesh_spec(plan: Plan, port: int) -> ServiceSpec:
    """How to run the mesh. With --dev only this machine reaches it."""
    arguments = ["--sovereign", plan.settings.sovereign, "--port", str(port), "--db", str(plan.data / "mesh.db")]
    return ServiceSpec(
        name="mesh",
        arguments=("-m", "tana.cli.main", "mesh", "serve", *arguments, *(["--host", LOOPBACK] if plan.dev else [])),
        url=plan.settings.mesh_url,
        probe=probe_mesh(plan.settings.mesh_url),
    )


def make_validator_spec(plan: Plan) -> ServiceSpec:
    """How to run the validator. With --dev it is up once it takes part, else once it answers."""
    settings = plan.settings
    url = get_url(settings, "status")
    arguments = ["--node-id", settings.node_id, "--mesh-url", settings.mesh_url, "--sovereign", settings.sovereign]
    arguments += ["--data", settings.data_dir, "--port-offset", str(settings.port_offset)]
    arguments += ["--hostname", settings.hostname, "--ip", settings.ip]
    return ServiceSpec(
        name=settings.node_id,
        arguments=("-m", "tana.cli.main", "validator", "run", *arguments),
        url=url,
        probe=probe_validator(url, settings.node_id),
        is_up=(lambda words: words in WORKING) if plan.dev else (lambda _words: True),
        is_stuck=lambda words: words.startswith(STUCK),
    )


def say(name: str, words: str) -> None:
    """One calm line. Nobody reading any more is no reason to stop a validator."""
    try:
        print(f"{datetime.now().astimezone():%H:%M:%S}  {name:<12}  {words}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _choose_sovereign(option: str | None, dev: bool) -> str:
    if dev:
        path = keyfiles.get_sovereign_key_path()
        if not path.exists():
            keyfiles.write_key(path, KeyPair.generate())
            say("sovereign", f"key made: {path}")
        own = read_signing_key(str(path)).public_text
        if option is not None and find_sovereign(option) != own:
            raise SettingsError(
                f"--dev acts as the sovereign of {path}, and --sovereign names another",
                remedy="leave out --sovereign, or start without --dev",
            )
        return own
    sovereign = find_sovereign(option)
    if sovereign is None:
        raise SettingsError(
            "nobody said who the sovereign is",
            remedy="give its public key with --sovereign, make its key with `tana keys new sovereign`, or use --dev",
            field="sovereign",
        )
    return sovereign
