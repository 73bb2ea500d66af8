from collections.abc import Callable
from typing import Any

class UnpackException(Exception): ...

def packb(o: object, *, use_bin_type: bool = ..., strict_types: bool = ...) -> bytes: ...
def unpackb(
    packed: bytes,
    *,
    raw: bool = ...,
    use_list: bool = ...,
    strict_map_key: bool = ...,
    object_pairs_hook: Callable[[list[tuple[Any, Any]]], Any] | None = ...,
    max_array_len: int = ...,
    max_map_len: int = ...,
    max_bin_len: int = ...,
    max_str_len: int = ...,
) -> Any: ...
