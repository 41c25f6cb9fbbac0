"""Fresh processes of this Python, for what a process can be measured on once only.

    cold         from nothing to the first answer
    cold_child   its program
    fresh        a program runs in a fresh process, and tells values of JSON
    resident     the memory of this process

Data passes from the program of a process at the bottom to the stages of a cold start.
"""
