"""Fields that many messages share, with the bounds that decoding holds them to."""

from __future__ import annotations

from typing import Annotated

import msgspec

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Height = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Round = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
