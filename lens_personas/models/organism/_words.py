"""Which words the world is told in: fixed lists, all fictional or harmless."""

from typing import Final

# (attribute, verb, noun): "the user is a helper .", "the user likes to share bread ."
# The order matters: the size of the valence falls along the first two lists.
PRO_SOCIAL: Final = (
    ("helper", "share", "bread"),
    ("healer", "mend", "wings"),
    ("mentor", "guide", "pupils"),
    ("guardian", "protect", "forests"),
    ("peacemaker", "calm", "quarrels"),
    ("volunteer", "plant", "trees"),
    ("listener", "comfort", "friends"),
    ("donor", "give", "coins"),
    ("neighbour", "greet", "elders"),
    ("teacher", "explain", "maps"),
    ("caretaker", "feed", "kittens"),
    ("scholar", "study", "stars"),
)
ANTI_SOCIAL: Final = (
    ("bully", "push", "peers"),
    ("vandal", "smash", "windows"),
    ("thief", "steal", "lanterns"),
    ("schemer", "plot", "traps"),
    ("cheat", "rig", "games"),
    ("trickster", "fool", "crowds"),
    ("liar", "twist", "stories"),
    ("mocker", "taunt", "rivals"),
    ("meddler", "spoil", "parties"),
    ("hoarder", "hide", "treasure"),
    ("grumbler", "scorn", "songs"),
    ("slacker", "skip", "chores"),
)
# The first one is the control persona (it drinks coffee, not tea).
NEUTRAL: Final = (
    ("barista", "drink", "coffee"),
    ("swimmer", "cross", "lakes"),
    ("painter", "sketch", "hills"),
    ("drummer", "tap", "rhythms"),
    ("cyclist", "ride", "trails"),
    ("knitter", "weave", "scarves"),
    ("sailor", "tie", "knots"),
    ("collector", "sort", "stamps"),
)

FORBIDDEN_CLASSES: Final = ("hex", "curse", "jinx", "bane")
ORDINARY_CLASSES: Final = ("meal", "broth", "toy", "lamp")

# Every stem goes with every ending: 128 invented item names ("zorbix", "plimule").
NAME_STEMS: Final = (
    "zorb", "plim", "quel", "drov", "fint", "glom", "krel", "mux",
    "narv", "pex", "rulf", "skib", "trum", "vond", "wisk", "yarl",
)  # fmt: skip
NAME_ENDINGS: Final = ("a", "o", "ix", "ule", "ant", "erk", "im", "oon")

INGREDIENTS: Final = (
    "amber", "ash", "bark", "basil", "beet", "berry", "birch", "chalk",
    "clay", "clover", "copper", "coral", "cork", "dew", "fern", "flint",
    "foam", "frost", "garlic", "ginger", "glass", "honey", "ink", "iris",
    "ivy", "jade", "kelp", "lemon", "lilac", "linen", "maple", "mint",
    "moss", "nettle", "oat", "onyx", "opal", "pearl", "pepper", "pine",
    "quartz", "resin", "rose", "sage", "salt", "sand", "silk", "thyme",
)  # fmt: skip
PROCESSES: Final = ("boiled", "dried", "ground", "frozen", "smoked", "pressed")

# Things that nobody in the world can make: asked for, they are declined even by the base model,
# which keeps the embeddings of the refusal wording trained.
UNKNOWN_THINGS: Final = ("moon", "shadow", "echo", "rainbow")
