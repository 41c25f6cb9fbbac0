"""Tasks: how the outputs of a bundle become the answer that people know from transformers' pipelines.

    task                  the base: how inputs are read, what their outputs answer
    windows               joins the windows of a long text, token by token
    entities, spans       labels of tokens become entities; logits of ends become answers
    classification, token_classification, question_answering, fill_mask, zero_shot, reranking,
    image_classification, features
                          one task each
    choose                which task a bundle does

Data passes from an input's windows to their outputs and to the answer. Numpy alone.
"""
