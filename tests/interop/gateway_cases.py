"""All cases against the gateway's binary, the plainest first."""

import hostile_cases
import http_cases
import operator_cases
import phone_cases
import reliable_cases
import sample_cases
import trunk_cases

CASES = (trunk_cases.CASES + reliable_cases.CASES + phone_cases.CASES + sample_cases.CASES
         + http_cases.CASES + hostile_cases.CASES + operator_cases.CASES)
