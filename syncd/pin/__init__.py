"""The promise that logged bytes do not change."""

from syncd.pin.leases import mask_signals, unmask_signals
from syncd.pin.params import PinLanes, PinParams, PinUsage
from syncd.pin.pins import Pins
from syncd.pin.reader import PinReader

__all__ = ["PinLanes", "PinParams", "PinReader", "PinUsage", "Pins", "mask_signals", "unmask_signals"]
