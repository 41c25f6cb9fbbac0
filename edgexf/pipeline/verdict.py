"""Keep or refuse a quantized dtype: the verdict, with every reason against it.

In: an `Outcome` as it was measured. Out: the same outcome with its verdict and the reasons. A dtype is kept if all of
this holds:

- each layer of the predict graph computes what its stored numbers say, and the stored numbers are those of its weight
  (`edgexf.passes.quantize.layer_check` says what is compared)
- every output of every case is within the mode's tolerance of fp32
- the drop is within its budget: the drop in accuracy if inputs are labelled, else in agreement with fp32
- explanations by the bundle's first method agree with the explanations of fp32: on average a Spearman correlation of
  0.95 or more, and 0.8 or more of the five strongest tokens in common; if a further method does not agree, only its
  graph is left out
- it is smaller than fp32 and no slower: each requested length has a 95 % interval of the time ratio, and the geometric
  mean of the lower ends is at most 1, so a length that gains pays for a length that loses

`force` writes a refused dtype all the same. `edgexf.load` then takes it by name only, except that a GPU also takes a
dtype that was only too slow.

Two alternatives were weighed for "no slower". A limit of 1 for the median refuses half of all graphs that are as fast
as fp32. A fixed margin forgives real losses on a quiet machine. The interval takes the noise of this run into account.
"""

from __future__ import annotations

from dataclasses import replace

from edgexf.report.quantization import FORCED, KEPT, REFUSED, SLOWER, Outcome


def judged(outcome: Outcome, force: bool) -> Outcome:
    """The outcome with its verdict and every reason against it."""
    from edgexf_runtimes.measure.agreement import ENDLESS
    from edgexf_runtimes.measure.speed import overall

    reasons = [layer.wrong for layer in outcome.layers if layer.wrong]
    if outcome.worst >= ENDLESS:
        reasons.append("gives values that are not finite (float16 ends at 65,504), or has others barred than fp32")
    elif not outcome.worst <= outcome.tolerance:
        reasons.append(
            f"changes answers by {100 * outcome.worst:.3g}% of the largest, where {100 * outcome.tolerance:.3g}% is allowed"
        )
    if outcome.drop is not None and outcome.max_drop is not None and not outcome.drop <= outcome.max_drop:
        reasons.append(
            f"loses {100 * outcome.drop:.3g}% of right or equal answers, where at most {100 * outcome.max_drop:.3g}% was asked for"
        )
    if outcome.explain and not outcome.explain[0].good:
        reasons.append(f"explains otherwise than fp32 by {outcome.explain[0].method}, the bundle's first method")
    if outcome.bytes >= outcome.fp32_bytes:
        reasons.append("is no smaller than fp32")
    typical, low = overall(outcome.speed)
    if low > 1:
        reasons.append(f"{SLOWER[0]}: it has {1 / typical:.2f}x fp32's speed on this machine")
    verdict = KEPT if not reasons else FORCED if force else REFUSED
    return replace(outcome, verdict=verdict, reasons=tuple(reasons))
