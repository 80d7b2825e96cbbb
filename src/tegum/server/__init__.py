"""The lab on this machine: a server on the loopback, which the page asks to train, to open what is stored, to measure.

`tegum lab` starts it. The page talks to it as to its own workers: requests are plain, answers come as a stream.
"""
