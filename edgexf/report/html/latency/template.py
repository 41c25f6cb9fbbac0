"""The template and the style of the page of a latency report.

Every value that the template names is escaped; only the drawings are marked as safe, where they are made.
"""

from __future__ import annotations

TEMPLATE = """
<header>
<p class="kicker">{{ kicker }}</p>
<h1>{{ title }}</h1>
{% for verdict in verdicts %}
<div class="verdict {{ 'plain' if verdict.good is none else 'good' if verdict.good else 'bad' }}">
<p><strong>{{ verdict.word }}</strong> {{ verdict.sentence }}</p>
{% set some = verdict.reasons if verdict.reasons|length <= 5 else verdict.reasons[:4] %}
{% if some %}<ul>{% for reason in some %}<li>{{ reason }}</li>{% endfor %}</ul>{% endif %}
{% if some|length < verdict.reasons|length %}
<details><summary>{{ verdict.reasons|length - some|length }} more</summary><ul>{% for reason in verdict.reasons[some|length:] %}<li>{{ reason }}</li>{% endfor %}</ul></details>
{% endif %}
</div>
{% endfor %}
</header>
<div class="cards">
{% for card in cards %}
<section class="card"><h2>{{ card.title }}</h2><dl>
{% for name, value in card.facts %}<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}</dl></section>
{% endfor %}
</div>
<nav aria-label="Sections"><ul>
{% for section in sections %}<li><a href="#{{ section.key }}">{{ section.title }}</a></li>
{% endfor %}</ul></nav>
{% for section in sections %}
<section id="{{ section.key }}"><h2>{{ section.title }}</h2>
{% if section.lacking %}<p>{{ section.lacking }}</p>{% endif %}
{% if section.links %}
<ul class="links">{% for link in section.links %}<li><a download="{{ link.file }}" href="{{ link.href }}">{{ link.text }}</a></li>{% endfor %}</ul>
{% endif %}
{% if section.beside %}<div class="beside">{% endif %}
{% if section.charts %}
<div class="plots {{ 'small' if section.small }}">
{% for chart in section.charts %}
<figure class="plot">
<h3>{{ chart.title }}</h3>
{% if chart.narrow %}<div class="at-wide">{{ chart.wide|drawing }}</div>
<div class="at-narrow">{{ chart.narrow|drawing }}</div>
{% else %}{{ chart.wide|drawing }}
{% endif %}
<figcaption>
{% if chart.legend %}<ul class="key">{% for entry in chart.legend %}<li><span class="sign" style="color:var(--{{ 'soft' if entry.colour is none else 's%d' % entry.colour }})" aria-hidden="true">{{ entry.sign }}</span> {{ entry.name }}</li>{% endfor %}</ul>{% endif %}
{{ chart.note }}</figcaption>
</figure>
{% endfor %}
</div>
{% endif %}
{% if section.grid %}<div class="grid">{% endif %}
{% for table in section.tables %}
<div class="figures">
{% if table.title %}<h3>{{ table.title }}</h3>{% endif %}
<p class="note sideways">What is wider than the screen scrolls sideways.</p>
<div class="scroll {{ 'words' if table.words }} {{ 'folded' if table.folded }}" role="region" aria-label="{{ table.title or section.title }}" tabindex="0"><table>
<thead><tr>{% for name in table.header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
</div>
{% endfor %}
{% if section.beside or section.grid %}</div>{% endif %}
{% if section.note %}<p class="note">{{ section.note }}</p>{% endif %}
</section>
{% endfor %}
"""

# Colours of lines have a contrast of at least 3 with the paper, in both themes (WCAG 2.2, 1.4.11).
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --page: #f5f6f8; --good: #1b6e3c; --bad: #b3261e; --mild: #fdf0d0; --severe: #fbdcd6;
  --s0: #1f5f99; --s1: #b85c00; --s2: #2e7d32; --s3: #b3261e; --s4: #7a5195; --s5: #00767f; --s6: #795548; --s7: #c2185b }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --line: #343c48; --accent: #7db8f0;
  --paper: #171c23; --page: #0e1116; --good: #6fcf8f; --bad: #ff8a80; --mild: #3a3115; --severe: #45211f;
  --s0: #6cb0f0; --s1: #f0a35e; --s2: #7ccf7f; --s3: #ff8a80; --s4: #c39be0; --s5: #4dd0d8; --s6: #c8a898; --s7: #f48fb1 } }
body { background: var(--page) } section, .scroll th:first-child { background: var(--paper) }
main > section { margin-top: 16px } a { color: var(--accent) }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.verdict { margin-top: 12px; padding: 10px 16px; background: var(--paper); border: 1px solid var(--line); border-left: 6px solid var(--good); border-radius: 6px }
.verdict.bad { border-left-color: var(--bad) } .verdict.plain { border-left-color: var(--accent) } .verdict.plain strong { color: var(--accent) } .verdict p { margin: 0 } .verdict ul { margin: 6px 0 0; padding-left: 20px }
.verdict strong { color: var(--good); margin-right: 6px } .verdict.bad strong { color: var(--bad) } .verdict li { overflow-wrap: anywhere }
nav ul, .key, .links { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 16px 0 0; padding: 0; list-style: none }
.key { margin: 0 0 4px; gap: 0 14px; color: var(--ink) } .key li { overflow-wrap: anywhere; min-width: 0 } .links { margin: 0 }
nav a, .links a { display: inline-block; padding: 2px 0 } dt { flex: none } .card dd { min-width: 0 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px 32px }
.plots.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 310px), 1fr)) }
.plot { margin: 0; min-width: 0; max-width: 640px } .plots.small .plot { max-width: 420px }
.plot svg { display: block; width: 100%; height: auto; font-family: inherit; stroke-linejoin: round; stroke-linecap: butt; overflow: visible }
.plot h3 { margin: 0 0 4px; font-size: 14px } .at-narrow { display: none }
.figures { min-width: 0 } .plots + .figures, .figures + .figures, .plots + .grid { margin-top: 16px } .figures h3 { margin: 0 0 4px }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 24px 32px; align-items: start } .grid .figures { margin-top: 0 }
@media screen and (min-width: 1080px) { .beside { display: grid; grid-template-columns: minmax(0, 580px) minmax(0, 1fr); gap: 16px 32px; align-items: start }
  .beside .figures { margin-top: 0 } .beside .scroll tbody th { white-space: nowrap } .beside .scroll th, .beside .scroll td { padding: 4px 5px; font-size: 13px } }
.scroll.words thead th { text-align: left } .scroll.words td { white-space: normal; overflow-wrap: anywhere; min-width: 160px; text-align: left } .scroll.words table { width: 100% }
.scroll tbody th { max-width: min(42vw, 320px) } .scroll.folded td, .scroll.folded thead th { white-space: normal; min-width: 112px; max-width: 140px } .scroll.folded thead th { vertical-align: bottom }
summary { width: fit-content; margin-top: 4px; padding: 2px 0; color: var(--accent); cursor: pointer }
@media (max-width: 600px) { .at-wide { display: none } .at-narrow { display: block } }
@media print { body { background: #fff } main { padding: 0; max-width: none } nav, .links { display: none } .plot, .verdict { break-inside: avoid }
  section { box-decoration-break: clone; -webkit-box-decoration-break: clone }
  section.card { break-inside: avoid } .scroll { overflow: visible } .scroll table { font-size: 11px } .scroll th, .scroll td { padding: 3px 5px }
  summary { display: none } details::details-content { display: block; content-visibility: visible; height: auto }
  .at-wide { display: block } .at-narrow { display: none } h2, h3 { break-after: avoid } }
"""
