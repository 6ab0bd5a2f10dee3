"""Write Kubernetes manifests for every model of the models file: the same input gives the same bytes."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_server.api_keys import load_keys
from model_config import PROJECT
from scripts.command_line import UserError, counted, run
from scripts.kubernetes.cluster import Choices, Store, plan_cluster
from scripts.kubernetes.folders import write_manifests
from scripts.kubernetes.router import KEYS_SECRET
from scripts.model_choice import add_models_argument, read_models

ROUTER_IMAGE = "keras-front-door/router:0.1.0"
DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
STORE = r"pvc://[\w.-]+|(gs|s3)://[\w.-]+(/\S*)?"
EXISTING = "existing"
SERVER_IMAGE = "tensorflow/serving:2.19.1"


def main() -> None:
    """Read the models file, write the manifests, say what comes next."""
    arguments = _arguments()
    cluster = plan_cluster(read_models(arguments.models), _choices(arguments))
    write_manifests(cluster, arguments.out)
    print(
        f"{arguments.out} holds {counted(len(cluster.models), 'model')}; docs/kubernetes.md says how to apply them."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=PROJECT / "deploy" / "kubernetes",
        metavar="DIR",
        help="where to write base/ and kserve/ (default: deploy/kubernetes/)",
    )
    parser.add_argument("--namespace", default="keras-front-door", help="everything lives there")
    parser.add_argument(
        "--host", default="models.example.org", help="the public name in the Ingress"
    )
    parser.add_argument(
        "--ingress-class", metavar="NAME", help="which controller (default: the cluster's default)"
    )
    parser.add_argument(
        "--router-image",
        default=ROUTER_IMAGE,
        metavar="IMAGE",
        help="what the router's pods run (default: %(default)s)",
    )
    parser.add_argument(
        "--model-server-image",
        default=SERVER_IMAGE,
        metavar="IMAGE",
        help="what the model servers' pods run (default: %(default)s)",
    )
    parser.add_argument(
        "--model-store",
        default="pvc://model-store",
        metavar="URL",
        help="pvc://CLAIM, gs://BUCKET/PATH or s3://BUCKET/PATH, with a folder per servable",
    )
    parser.add_argument(
        "--model-store-port",
        type=int,
        default=443,
        metavar="PORT",
        help="where an s3:// store is reached, if it is not Amazon's; MinIO: 9000 (default: %(default)s)",
    )
    parser.add_argument(
        "--api-keys",
        metavar=f"FILE|{EXISTING}",
        help=f"the router's keys file, to go into a Secret; '{EXISTING}' where the Secret {KEYS_SECRET} is made otherwise",
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="where the routers count rates and quotas together"
    )
    parser.add_argument(
        "--prometheus-adapter",
        action="store_true",
        help="let the autoscalers follow requests in flight, too, and write the values for its Helm chart",
    )
    return parser.parse_args()


def _choices(arguments: argparse.Namespace) -> Choices:
    if not re.fullmatch(DNS_LABEL, arguments.namespace):
        raise UserError(
            f"--namespace is '{arguments.namespace}'; use lower case letters, digits and '-' only."
        )
    if not re.fullmatch(rf"(\*\.)?{DNS_LABEL}(\.{DNS_LABEL})*", arguments.host):
        raise UserError(f"--host is '{arguments.host}'; write a name such as models.example.org.")
    if arguments.redis_url is not None and not _is_redis_url(arguments.redis_url):
        raise UserError(f"--redis-url is '{arguments.redis_url}'; write redis://HOST:6379/0.")
    return Choices(
        namespace=arguments.namespace,
        host=arguments.host,
        ingress_class=arguments.ingress_class,
        router_image=arguments.router_image,
        server_image=arguments.model_server_image,
        store=_store(arguments.model_store, arguments.model_store_port),
        keys_wanted=arguments.api_keys is not None,
        keys=None if arguments.api_keys in (None, EXISTING) else _keys(Path(arguments.api_keys)),
        redis_url=arguments.redis_url,
        follow_requests=arguments.prometheus_adapter,
    )


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _store(text: str, port: int) -> Store:
    if not re.fullmatch(STORE, text.rstrip("/"), re.ASCII):
        raise UserError(
            f"--model-store is '{text}'; write pvc://CLAIM, gs://BUCKET/PATH or s3://BUCKET/PATH."
        )
    if not 1 <= port <= 65535:
        raise UserError(f"--model-store-port is {port}; write a port from 1 to 65535.")
    return Store(text.rstrip("/"), port)


def _keys(path: Path) -> bytes:
    """What a file of keys holds; one that the routers would refuse is refused here, before they start with it."""
    load_keys(path)
    return path.read_bytes()


if __name__ == "__main__":
    run(main)
