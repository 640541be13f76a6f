"""Tables for notebooks."""

from snnax.tables import table, text


def test_rows_have_a_heading_and_names_are_text():
    assert table("none", ("a",), []) == ""
    html = table("two", ("", ""), [("first", text("<b>\x1b"))])
    assert "<thead>" not in html
    assert html.endswith('<tr><th scope="row">first</th><td>&lt;b&gt;\\x1b</td></tr></tbody></table>')
