"""Trace: torch.export, and the translation of a captured program to ONNX.

    export     captures a module, and translates a captured program
    diagnose   finds the line at which a capture stopped
    guards     the conditions on sizes under which a captured program holds
    marks      operators that mark tensors in a captured program
    simplify   removes what a translated graph does not need

A module goes into `export.capture`; `diagnose` watches the trace, and says in the error where it stopped. `guards`
reads the conditions of the captured program. `export.translate` removes the marks, translates the program to ONNX and
calls `simplify`.
"""
