from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.pages import Checkout, commands
from tests.processes import ROOT, free_port, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(420)]

EXAMPLE = ROOT / "examples" / "food_vision"


def test_the_page_classifies_food_by_url(tmp_path: Path) -> None:
    """The page's commands, run against what it starts, answer one of the 101 foods, and the router's own score."""
    checkout = Checkout(tmp_path)
    pictures, food = free_port(), free_port()
    checkout.env |= {
        "FETCH_HOSTS": f"127.0.0.1:{pictures}",
        "FETCH_NETWORKS": "127.0.0.0/8",
    }
    serve = ("-m", "http.server", str(pictures), "--bind", "127.0.0.1", "--directory")
    adapter = (EXAMPLE / "food_vision.py", "--port", str(food), "--router", checkout.router)
    with (
        running(*serve, ROOT / "test_images", log=tmp_path / "pictures.log"),
        running(*adapter, log=tmp_path / "food.log") as food_vision,
        checkout.started("--models", str(EXAMPLE / "models.toml"), model="food"),
    ):
        food_vision.wait_for(f"http://127.0.0.1:{food}/")
        here = {
            "http://127.0.0.1:5000": checkout.router,
            ":5001": f":{food}",
            ":8000": f":{pictures}",
        }
        printed = "\n".join(commands("image-by-url.md"))
        for written, real in here.items():
            printed = printed.replace(written, real)
        answers = [json.loads(checkout.run(command)) for command in printed.splitlines()]
        url = f"http://127.0.0.1:{food}/net/image/prediction/?image_link=http://10.0.0.1/a"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, b""), timeout=30)
        refused.value.close()
    by_link, by_parameter, by_json = answers
    assert by_link["model-prediction"] in json.loads((EXAMPLE / "food_101.json").read_text())
    assert by_parameter == by_json[:3]
    [_, name, score] = by_parameter[0]
    assert by_link == {"model-prediction": name, "model-prediction-confidence-score": score}
    assert refused.value.code == 403
    assert refused.value.headers.get_content_type() == "application/problem+json"
