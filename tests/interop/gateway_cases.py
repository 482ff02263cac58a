"""All cases against the gateway's binary, the plainest first."""

import dns_cases
import flow_cases
import hostile_cases
import http_cases
import modify_cases
import operator_cases
import phone_cases
import reliable_cases
import sample_cases
import srtp_cases
import transport_cases
import trunk_cases
import trunk_presets_cases

CASES = (trunk_cases.CASES + reliable_cases.CASES + phone_cases.CASES + sample_cases.CASES
         + srtp_cases.CASES + http_cases.CASES + hostile_cases.CASES + operator_cases.CASES
         + dns_cases.CASES + trunk_presets_cases.CASES + modify_cases.CASES
         + transport_cases.CASES + flow_cases.CASES)
