"""Questions put to a model, one a module, and the studies that answer them.

A module without a leading underscore is one question: a pure function over what was collected.
The underscore modules run, store and show studies. Nothing is imported here.
"""
