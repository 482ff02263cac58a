"""All cases against the gateway's binary, in lanes that run beside each other."""

import detect_cases
import dns_cases
import flood_cases
import flow_cases
import hostile_cases
import http_cases
import modify_cases
import operator_cases
import phone_cases
import quality_cases
import reliable_cases
import sample_cases
import soak_cases
import sound_cases
import speech_cases
import srtp_cases
import torture_cases
import transport_cases
import trunk_cases
import trunk_presets_cases

LANES = {
    "calls": (trunk_cases.CASES + reliable_cases.CASES + phone_cases.CASES + sample_cases.CASES
              + srtp_cases.CASES + modify_cases.CASES + detect_cases.CASES),
    "edges": (http_cases.CASES + hostile_cases.CASES + operator_cases.CASES + dns_cases.CASES
              + trunk_presets_cases.CASES + transport_cases.CASES + torture_cases.CASES
              + flow_cases.CASES + sound_cases.CASES + soak_cases.CASES + quality_cases.CASES
              + speech_cases.CASES),
}
# They take all of the machine: when the rest is done.
ALONE = flood_cases.CASES
