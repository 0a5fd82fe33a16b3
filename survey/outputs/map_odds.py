"""The map of the odds: alleys and compounds by the chance of a visit."""

from survey.outputs.map_layers import points_layer, subdistricts_layer
from survey.outputs.map_parts import Parts, Story, count_units, unit_layers
from survey.outputs.texts import Pair
from survey.outputs.units import priorities_layer


def tell_odds(parts: Parts) -> Story:
    """Tell how likely each unit is to be drawn, and which are to be mended first."""
    frame, table = parts.frame, parts.get("odds")
    likely = int((table["prob"] >= 0.5).sum())
    never = int((table["prob_high"] == 0).sum())
    line = Pair(
        f"颜色越深越可能被抽到：{likely:,} 个单位不低于一半，{never:,} 个在任何半径下都抽不到；"
        "虚线靠近数据边缘",
        f"The darker, the likelier to be drawn: {likely:,} units by one half or more, {never:,}"
        " under no radius; dashed near the data's edge",
    )
    layers = [
        points_layer(frame),
        priorities_layer(parts.units, parts.get("priorities"), crs=frame.alleys.crs),
        *unit_layers(parts, parts.facts),
        subdistricts_layer(frame),
    ]
    title = Pair("入样概率：哪里最可能被抽到", "The odds of a visit")
    return Story(title, line, count_units(frame), layers)
