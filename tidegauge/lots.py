"""Which requests are in a sample: decided by their ids alone, so that every worker and every replay decides alike."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_LOTS: Final = 1 << 64


def is_drawn(identity: str, probability: float) -> bool:
    """
    Whether the request of this id is drawn. Lots of different ids are even and independent of each other; the same id
    is drawn always or never, and who is drawn with one probability is drawn with every larger one.
    """
    if probability >= 1.0:
        return True
    digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < probability * _LOTS
