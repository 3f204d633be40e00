"""``--compress NAME,key=value,...`` on the command line."""

from __future__ import annotations

from typing import Any

from edgeq.cli.options import recipe_from_options
from edgeq.compress import method_from_option
from edgeq.compress.share_weights import ShareWeights


def test_arrays_of_a_method_come_to_the_recipe() -> None:
    text = 'share-weights,bits=3,layer_bits=["conv*=6","fc1=5"],start=density,skip=["fc3"],epochs=2'
    wanted = ShareWeights(bits=3, layer_bits=("conv*=6", "fc1=5"), start="density", skip=("fc3",), epochs=2)
    assert method_from_option(text) == wanted
    options: dict[str, Any] = {"compress": [method_from_option(text).to_table()]}
    assert recipe_from_options(None, options).compress == (wanted,)
