"""Tables in, figures out."""

from mp_lib.system.extras import require

require("lab")
