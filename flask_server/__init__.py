"""The router: one route per model, labels as JSON."""
