def boundaries(
    buffer: bytes | bytearray | memoryview,
    minimum: int,
    maximum: int,
    average: int,
    final: bool,
    variant: str | None = None,
    /,
) -> list[int]: ...
def variant() -> str: ...
def variants() -> list[str]: ...
