"""What a session answers beyond its outputs: one file for each way of asking.

    embedding    one vector for a text, and how alike two of them are
    similarity   why two texts are alike

Each file takes a predictor and inputs, and gives what people know from the libraries of that task.
"""
