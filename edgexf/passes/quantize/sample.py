"""Texts on which the layers of a model that reads text are watched: of many kinds, written for this purpose.

Weights are hard to quantize if a few inputs of a layer are far larger than the others. Which inputs are large depends
on the model and hardly on the text. But special tokens, punctuation and numbers must occur.
"""

SHORT = (
    "The weather is lovely today, and the forecast for the weekend is even better.",
    "He drove to the stadium, didn't he? \"Yes,\" she said; 'but only after lunch.'",
    "In 2019, 3.7 million people (about 12%) moved from the country to one of its five largest cities.",
    "def total(rows, start=0):\n    # sum of the second column\n    return sum(row[1] for row in rows) + start",
    "for (int i = 0; i < n; ++i) { if (a[i] != b[i]) return -1; } /* equal so far */",
    "Quantum chromodynamics describes how quarks and gluons interact; see section 4.2 and figure 7.",
    "Der Zug nach Hamburg hat heute leider zwanzig Minuten Verspätung.",
    "URGENT!!! You have WON $1,000,000!!! Reply NOW to claim your prize...",
    "whether it rains or not we will walk along the river and talk about nothing in particular",
    "See https://example.org/items?page=2&sort=price#top or write to help@example.org.",
    '{"name": "lamp", "price": 12.5, "tags": ["home", "light"], "stock": null}',
    '<p class="note">Save your work <b>before</b> you close the window.</p>',
    "SELECT name, COUNT(*) FROM orders WHERE total > 100 GROUP BY name ORDER BY 2 DESC;",
    "The patient was given 5 mg twice a day for two weeks and reported no side effects.",
    "Paris",
    "Is this the real reason why the committee rejected the proposal last month?",
)
TEXTS = (*SHORT, " ".join(SHORT[::2]), " ".join(SHORT[1::2]))  # and two long ones
