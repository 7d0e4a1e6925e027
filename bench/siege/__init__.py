"""Sieges.

Texts: ``worst_texts`` names the worst by entrance, ``one_request`` measures one of them in a process of its own. Load:
``besieged`` runs an installation, ``clients`` use it well, ``faults`` befall it, ``pipelining`` as one
of these, ``load`` counts what came of it. ``page`` shows both.
"""
