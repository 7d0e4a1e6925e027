"""Word lists that several features of text share.

English only: a text in another language has zero of each, and a predictor trained on such texts gives them no weight.
"""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W\d_](?:[^\W_]|['’](?=[^\W\d_]))*")
SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++(?=\s|$)")  # possessive: a line of dots is read once
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NAME_WITHIN = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words(
    "the a an of to in and or is are was were be been it that this for on with as at by from not have has had do does"
    " did but if they you i we he she his her their my your our its will would can could should there what which who"
)
CONNECTIVES = _words(
    "because therefore however although though since thus hence while whereas moreover furthermore but so if then also"
    " instead unless despite"
)
HEDGES = _words(
    "maybe perhaps probably possibly might could seems seem guess think believe likely usually often sometimes"
    " generally"
)
MODALS = _words("should must need ought have can could may might will would")
FIRST_PERSON = _words("i me my mine we us our i'm i've i'd")
SECOND_PERSON = _words("you your yours u")
PRAISE = _words("good great best better nice love excellent well right true benefit help important")
BLAME = _words("bad worst worse hate stupid wrong dumb idiot evil terrible never no not nothing")
FILLERS = _words("really very just like stuff things lol haha hey oh yeah")
VAGUE = _words(
    "it this that these those they them thing things something anything stuff some someone kind sort various certain"
    " one ones etc"
)
NEGATIONS = _words(
    "not no never none neither nor except without least incorrect false cannot can't don't doesn't isn't aren't won't"
    " wouldn't"
)
CONSTRAINTS = _words(
    "must only exactly least most every each all always within between without following given assuming suppose"
)
COMPARISONS = _words(
    "compare compared contrast difference differences differ versus vs than better worse more less similar unlike"
)
COMMANDS = _words(
    "write explain describe list give name find calculate compute solve prove show summarize summarise translate"
    " rewrite generate create make design implement discuss compare analyze analyse identify evaluate state define"
    " draft suggest provide tell convert complete"
)
# A question that starts so.
YES_OR_NO = _words("is are was were do does did can could will would should has have am may")
