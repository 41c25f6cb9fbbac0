"""What the page of a latency report says below its tables: the meaning of each abbreviation, each stage and each row.

In: nothing. Out: sentences.
"""

from __future__ import annotations

from edgexf.report.latency.measured.statistics import CONFIDENCE
from edgexf.report.latency.tables import PROFILED

CONFIGURATIONS = (
    "Times in milliseconds. sd: the standard deviation. p50: the median; p90 to p99: the time to which 90 to 99% of the runs "
    f"keep. need 459: the percentile is known with a confidence of {CONFIDENCE:.0%} from so many runs on. tokens/s: of the "
    "median run. peak MiB: the peak of resident memory of a fresh process that does only this."
)
RATES = "samples/s: inputs a second; of the scenario server, the highest rate of queries at random times that keeps to the bound."
QUALITY = (
    "Errors are relative differences of the outputs. same answers: the share of inputs with the same answer. right: the share "
    "of right answers, where labels were given. explanations: the mean rank correlation (Spearman) with those of fp32."
)
TIME = (
    f"The tables hold {PROFILED}. A kernel is the program of an operator; between kernels, onnxruntime itself takes time. On a "
    "GPU an operator has the time of its launch, and the GPU's own work lies between the kernels. "
    "in ...: the modules of the model, which hold some of these operators. floor: what the necessary operations would take at "
    "the rate of large products of matrices on this device, from the same measurement."
)
LOADGEN = (
    "LoadGen asked the same session once more, in one process, by the rules of MLPerf Inference. p50 / ours: its median over "
    "that of this report. The result is LoadGen's verdict, with its reasons."
)
ANSWERS = (
    f"Medians in milliseconds, with their intervals of {CONFIDENCE:.0%}. Of one process, the interval is for that process alone; of "
    "2 to 4 processes there is none. encode: tokenization, from a text or bytes to token ids. prepare: padding, masks and checks. "
    "decode: from scores to labels, or to the relevance of words. whole: the call of the session that does all of it, in turn "
    "with the stages. rest: what the whole call takes beside their sum."
)
COLD = (
    "Medians in milliseconds. process: until Python runs; import: of edgexf and onnxruntime; verify: hashing the files of the "
    "bundle; create: opening the session; first: the first answer. The second answer is there to compare with; it belongs to no "
    "cold start."
)
COST = "answers: how many answers take as long as one explanation, by their medians."
SAMPLES = (
    "Each dot is a sample. Dotted lines part the processes, and a bar is the median of each. The bands begin 1.5 and 3 "
    "interquartile ranges from the quartiles (Tukey's fences): mild and severe outliers. A triangle stands at the "
    "edge for a sample beyond the picture."
)
RAW = "The page holds these files; nothing is loaded. JSON holds all of the report, CSV each sample."
