"""Predictors that are data: features of a request and its answer in, a calibrated number out.

They are trained by ``adapters/predictors``. Start at ``predictor.py``, then ``attach.py``: how a Variant carries one.
"""
