"""The style sheet of every page. Each page holds the whole style sheet, because a page needs no other file.

Radio buttons choose a view, and a word in the view, without a script; see `edgexf.report.html.views`.
"""

from __future__ import annotations

from edgexf.report.colours import INK, hex_colour

STYLE = """
:root { color-scheme: light; --ink: #1d2530; --soft: #55606e; --line: #d9dee5; --accent: #1f5f99;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
* { box-sizing: border-box }
body { margin: 0; background: #f5f6f8; color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 48px }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 0 0 10px; font-size: 16px; overflow-wrap: anywhere }
p { margin: 8px 0 0 } .kicker { margin: 0; font-size: 12px; letter-spacing: .08em; text-transform: uppercase }
.kicker, .note, figcaption, .card p, dt, thead th { color: var(--soft) }
.note, figcaption, .card p { font-size: 13px; overflow-wrap: anywhere } .runs td { white-space: nowrap }
section { min-width: 0; padding: 16px 18px; background: #fff; border: 1px solid var(--line); border-radius: 8px }
.cards, .detail { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 16px; margin-top: 16px }
.detail { grid-template-columns: minmax(0, 1fr); align-items: start }
table { border-spacing: 0; font-variant-numeric: tabular-nums }
thead th { font-size: 12px } .card table, .runs { width: 100% }
.card th, .card td, .runs th, .runs td { padding: 3px 0 3px 12px; text-align: right; font-weight: 400; vertical-align: top }
.card th:first-child, .runs th:first-child { padding-left: 0; text-align: left; overflow-wrap: anywhere }
.card .sum > * { border-top: 1px solid var(--line); font-weight: 600 }
.bar { width: 40% } .bar div { height: 10px; margin-top: 6px; min-width: 1px; background: var(--accent); border-radius: 2px }
dl { margin: 0 } dl div { display: flex; gap: 12px; justify-content: space-between; padding: 3px 0 }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
code, .view, .runs tbody th { font-family: var(--mono); font-size: 13px }
.legend { margin: 0 0 14px; max-width: 640px }
.sides, .scale { display: flex; justify-content: space-between; gap: 0 16px; font-size: 13px; font-variant-numeric: tabular-nums }
.scale { height: 14px; gap: 0; margin: 3px 0; border: 1px solid var(--line) } .scale span { flex: 1 }
fieldset { margin: 0; padding: 0; border: 0; min-width: 0 } .switch { position: absolute; opacity: 0 }
.switch + label { display: inline-block; padding: 4px 18px; border: 1px solid var(--line); cursor: pointer; font-size: 14px }
label + .switch + label { border-left: 0 }
.switch:checked + label { background: var(--accent); border-color: var(--accent); color: #fff }
.switch:focus-visible + label, .view:focus-visible, .scroll:focus-visible { outline: 3px solid #7a5195; outline-offset: 2px }
.pane { display: none; margin-top: 12px }
#show-words:checked ~ .columns .pane-words, #show-tokens:checked ~ .columns .pane-tokens,
#show-text:checked ~ .columns .pane-text, #show-hex:checked ~ .columns .pane-hex { display: block }
.wide .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 16px }
article { min-width: 0 } h3 { margin: 12px 0 0; font-size: 15px; overflow-wrap: anywhere } .wide .view { max-height: 70vh }
.scroll { overflow-x: auto } .scroll th, .scroll td { padding: 4px 10px; text-align: right; font-weight: 400; white-space: nowrap }
.scroll table { font-size: 14px } .scroll tbody > * > * { border-top: 1px solid var(--line) } .scroll td[class] { color: INK }
.scroll th:first-child { position: sticky; left: 0; padding-left: 0; background: #fff; text-align: left; font-weight: 600 }
.note + fieldset { margin-top: 12px } .scroll tbody th { min-width: 88px; max-width: min(34vw, 320px); white-space: normal; overflow-wrap: break-word }
.box { position: relative }
.view { max-height: 80vh; padding: 10px 0; overflow: auto; line-height: 1.55; color: INK; border: 1px solid var(--line); border-radius: 6px }
.view-words, .view-tokens { padding: 10px 12px 44px; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7 }
.view label { cursor: pointer } .view label > span { border-radius: 3px }
.view-tokens label > span { box-shadow: inset 0 0 0 1px rgb(0 0 0 / .12) }
.view input { appearance: none; width: 0; height: 0; margin: 0; outline: 0; font-size: 0 }
.view input:checked + span { outline: 2px solid #7a5195 } .view input:focus-visible + span { outline: 3px solid #7a5195 }
.view input:checked + span::after { content: attr(title); position: absolute; left: 0; right: 0; bottom: 0; padding: 6px 12px;
  background: INK; color: #fff; border-radius: 0 0 6px 6px; font-size: 13px; line-height: 1.4; white-space: normal }
.line { position: relative; padding: 0 12px 0 58px; white-space: pre-wrap; overflow-wrap: anywhere; counter-increment: line }
.line::before { position: absolute; left: 0; width: 44px; content: counter(line); color: var(--soft); text-align: right; font-size: 12px }
.nl::before { content: "↵"; opacity: .4 }
.chip { margin: 0 1px; padding: 0 2px; border-radius: 3px; font-size: 10px; box-shadow: inset 0 0 0 1px rgb(0 0 0 / .3) }
.view-hex table { margin: 0 12px } .view-hex td, .view-hex th { min-width: 26px; padding: 1px 5px; font-weight: 400; white-space: pre }
.view-hex th:first-child { padding: 1px 14px 1px 0; color: var(--soft); text-align: left }
.view-hex tr > :nth-child(9) { border-right: 8px solid #fff }
.view-hex tr > :last-child { padding-left: 18px; text-align: left }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px 36px }
.runs { align-self: start; font-size: 13px } .runs caption { text-align: left; font-weight: 600; font-size: 15px; padding-bottom: 4px }
.runs tbody > * > * { border-top: 1px solid var(--line) } .runs tbody th { min-width: 72px; white-space: pre-wrap } .runs span { color: INK }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
@media screen and (min-width: 1080px) { .detail:not(.wide) { grid-template-columns: minmax(0, 1fr) 380px } }
.sideways { display: none; margin: 0 0 6px }
@media (max-width: 600px) {
  .sideways { display: block }
  main { padding: 16px 10px 32px } section { padding: 12px }
  .line { padding: 0 6px 0 40px } .line::before { width: 32px }
}
@media print {
  .sideways { display: none }
  * { print-color-adjust: exact } tr, .line { break-inside: avoid }
  .view, .wide .view { max-height: none; overflow: visible }
}
""".replace("INK", hex_colour(INK))
