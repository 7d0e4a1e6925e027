"""Sieges: what hostile requests cost. ``worst_texts`` names them by entrance, ``one_request`` measures one of them in a process of its own."""
