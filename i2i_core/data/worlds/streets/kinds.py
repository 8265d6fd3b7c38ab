"""Name the textures that a surface can have."""

from enum import IntEnum, auto


class Kind(IntEnum):
    """Name a texture."""

    SKY = 0
    HILLS = auto()
    ROAD = auto()
    PAVEMENT = auto()
    GRASS = auto()
    FACADE = auto()
    WALL = auto()
    ROOF = auto()
    FENCE = auto()
    HEDGE = auto()
    BARK = auto()
    LEAVES = auto()
    POLE = auto()
    LAMP = auto()
    SIGN = auto()
    LIGHT = auto()
    CAR_SIDE = auto()
    CAR_END = auto()
    PAINT = auto()
    GLASS = auto()
    CLOTH = auto()
