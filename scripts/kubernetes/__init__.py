"""models.toml -> Kubernetes manifests; `scripts/render_kubernetes.py` is the door."""
