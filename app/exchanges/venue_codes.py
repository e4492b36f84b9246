"""What each venue's error codes prove about a request.

Sources: ccxt's tables of exceptions and the venues' documentation. Where ccxt takes for a refusal what the documentation calls a time-out,
or the other way round, the documentation counts.
"""

from dataclasses import dataclass, field
from typing import Final

_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueCodes:
    """One venue's codes by what they mean.

    `definite` codes say that the order was not taken, `doubtful` ones say nothing of it whatever ccxt makes of them, and `duplicate` ones
    that an order under our id is already there. `definite_prefixes` take whole families. For a code in none of them ccxt's class decides,
    unless `is_closed`: then the venue's list is complete, and an unknown code is a doubt.
    """

    definite: frozenset[str] = _NONE
    definite_prefixes: tuple[str, ...] = ()
    doubtful: frozenset[str] = _NONE
    duplicate: frozenset[str] = _NONE
    credentials: frozenset[str] = _NONE
    rate: frozenset[str] = _NONE
    clock: frozenset[str] = _NONE
    no_order: frozenset[str] = _NONE
    funds: frozenset[str] = _NONE
    account: dict[str, str] = field(default_factory=dict)
    is_closed: bool = False

    def proves_refusal(self, code: str) -> bool:
        """Whether the venue definitely does not have the order."""
        if code in self.doubtful or code in self.duplicate:
            return False
        named = self.definite | self.credentials | self.rate | self.clock | self.funds | self.account.keys()
        return code in named or code.startswith(self.definite_prefixes)


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: -1100 … -1199 are faults of the request itself. Source: binance-spot-api-docs errors.md.
_BINANCE: Final = VenueCodes(
    definite=_codes("-1002 -1013 -2010"),
    definite_prefixes=("-11",),
    credentials=_codes("-1002 -1022 -2008 -2014 -2015"),
    rate=_codes("-1003 -1015"),
    clock=_codes("-1021"),
    no_order=_codes("-2011 -2013"),
    is_closed=True,
)

VENUE_CODES: Final[dict[str, VenueCodes]] = {
    "binance": _BINANCE,
    "binanceus": _BINANCE,
    # Kraken names its errors: severity and place, a colon, and the fault. Source: docs.kraken.com, guides, general, errors.
    "kraken": VenueCodes(
        definite=frozenset(
            {
                "EGeneral:Permission denied",
                "ETrade:User Locked",
                "EService:Market in cancel_only mode",
                "EService:Market in post_only mode",
                "EService:Market in limit_only mode",
            }
        ),
        definite_prefixes=("EOrder:", "EQuery:", "EGeneral:Invalid arguments", "EAccount:Invalid permissions"),
        doubtful=frozenset(
            {
                "EService:Unavailable",
                "EService:Busy",
                "EService:Timeout",
                "EGeneral:Internal error",
                "EGeneral:Unknown error",
                "EDatabase:Internal error",
            }
        ),
        duplicate=frozenset({"EOrder:cl_ord_id already exists"}),
        credentials=frozenset({"EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied", "ESession:Invalid session"}),
        rate=frozenset(
            {"EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded", "EGeneral:Temporary lockout", "EGeneral:Too many requests"}
        ),
        clock=frozenset({"EAPI:Invalid nonce", "EService:Deadline elapsed"}),
        no_order=frozenset({"EOrder:Unknown order", "EOrder:Invalid order"}),
        funds=frozenset({"EOrder:Insufficient funds"}),
    ),
    # Source: docs.cdp.coinbase.com, advanced trade, create order, `NewOrderFailureReason`. What failed in its preview was never placed.
    "coinbase": VenueCodes(
        definite=_codes(
            "UNSUPPORTED_ORDER_CONFIGURATION INVALID_SIDE INVALID_PRODUCT_ID INVALID_SIZE_PRECISION INVALID_PRICE_PRECISION"
            " INVALID_LEDGER_BALANCE ORDER_ENTRY_DISABLED INELIGIBLE_PAIR INVALID_LIMIT_PRICE_POST_ONLY INVALID_LIMIT_PRICE"
            " INVALID_NO_LIQUIDITY INVALID_REQUEST INVALID_ARGUMENT UNTRADABLE_PRODUCT GEOFENCING_RESTRICTION"
            " COMMANDER_REJECTED_NEW_ORDER IN_LIQUIDATION INVALID_MARGIN_TYPE"
        ),
        definite_prefixes=("PREVIEW_",),
        doubtful=_codes("UNKNOWN_FAILURE_REASON INTERNAL internal_server_error UNKNOWN unknown"),
        credentials=_codes("PERMISSION_DENIED UNAUTHENTICATED unauthorized authentication_error invalid_token revoked_token expired_token"),
        rate=_codes("rate_limit_exceeded resource_exhausted RESOURCE_EXHAUSTED"),
        no_order=_codes("NOT_FOUND not_found UNKNOWN_CANCEL_ORDER ORDER_IS_FULLY_FILLED DUPLICATE_CANCEL_REQUEST"),
        funds=_codes("INSUFFICIENT_FUND INSUFFICIENT_FUNDS PREVIEW_INSUFFICIENT_FUND"),
    ),
    # Source: kucoin.com/docs-new, errors code.
    "kucoin": VenueCodes(
        definite=_codes("300000 400100 400200 400350 400370 400500 400600 400760 900001 200003 230005 600101"),
        doubtful=_codes("500000 503000 200002 404000"),
        credentials=_codes("400001 400003 400004 400005 400006 400007 411100"),
        rate=_codes("429000 1015"),
        clock=_codes("400002"),
        no_order=_codes("100001 130103 130108 126043"),
        funds=_codes("200004 210021 230003 260100 300003"),
    ),
    # Source: bitget.com/api-doc, error code. 40010 is a time-out, which ccxt takes for a refused key.
    "bitget": VenueCodes(
        definite=_codes("40017 40019 40020 40034 40102 40808 40917 41103 43011 43025 45110 45111 45113 45117 45122 43008 43009 43010"),
        doubtful=_codes("40010 40015 40200 40725 45001 00001 40604 50008"),
        duplicate=_codes("40786 43118"),
        credentials=_codes("40001 40002 40003 40006 40009 40011 40012 40014 40018 40037 40038"),
        rate=_codes("429 30014 30026 40429"),
        clock=_codes("40004 40005 40008"),
        no_order=_codes("43001 40109 40768 43004 43002"),
        funds=_codes("43012 40762 40754"),
        account={
            "40084": "Bitget says that the account is in unified mode; only its classic spot accounts are supported.",
            "40085": "Bitget says that the account is in unified mode; only its classic spot accounts are supported.",
        },
    ),
    # Source: okx.com/docs-v5, error code. 50004: "does not mean that the request was successful or failed".
    "okx": VenueCodes(
        definite=_codes(
            "51000 51001 51002 51004 51005 51006 51010 51020 51023 51046 51047 51111 51115 51121 51155 51250 51277 51278 51280"
        ),
        doubtful=_codes("1 2 50001 50004 50013 50026 51054 51149"),
        duplicate=_codes("51016 51065"),
        credentials=_codes("50030 50101 50103 50104 50105 50106 50107 50110 50111 50113 50114 50119 50120 50100"),
        rate=_codes("50011 50040 50061 51113"),
        clock=_codes("50102 50112"),
        no_order=_codes("51400 51401 51402 51503 51509 51603"),
        funds=_codes("51008 51119 51127 51131"),
    ),
    # Source: bybit-exchange.github.io/docs/v5/error. 170146 is the time-out of an order's creation, which ccxt takes for a refusal.
    "bybit": VenueCodes(
        definite=_codes(
            "10001 10014 10024 10029 170005 170105 170115 170116 170117 170121 170124 170130 170132 170133 170134 170135 170136 170137"
            " 170140 170144 170145 170148 170151 170193 170194 170201 170209 170210 170217 170218 170221 170224 170372"
        ),
        doubtful=_codes("10000 10016 10017 170001 170007 170031 170032 170146 170147"),
        duplicate=_codes("170141 110072"),
        credentials=_codes("10003 10004 10005 10007 10008 10009 10010 33004"),
        rate=_codes("10006 10018 10429 170222"),
        clock=_codes("10002"),
        no_order=_codes("110001 170139 170142 170143 170213 140001"),
        funds=_codes("170033 170131 170223 110007 131212"),
    ),
    # Source: gate.com/docs/developers/apiv4, error handling: a label is in every error.
    "gate": VenueCodes(
        definite=_codes(
            "INVALID_PARAM_VALUE INVALID_PROTOCOL INVALID_ARGUMENT INVALID_REQUEST_BODY MISSING_REQUIRED_PARAM BAD_REQUEST"
            " INVALID_CONTENT_TYPE NOT_ACCEPTABLE METHOD_NOT_ALLOWED INVALID_CURRENCY INVALID_CURRENCY_PAIR INVALID_PRECISION"
            " POC_FILL_IMMEDIATELY QUANTITY_NOT_ENOUGH AMOUNT_TOO_LITTLE AMOUNT_TOO_MUCH TOO_MANY_ORDERS PRICE_THRESHOLD_EXCEEDED"
            " TRADE_RESTRICTED SUB_ACCOUNT_LOCKED FOK_NOT_FILL"
        ),
        doubtful=_codes("INTERNAL SERVER_ERROR TOO_BUSY"),
        duplicate=_codes("REPEATED_CREATION"),
        credentials=_codes(
            "AUTHENTICATION_FAILED INVALID_CREDENTIALS INVALID_KEY INVALID_SIGNATURE IP_FORBIDDEN FORBIDDEN READ_ONLY ACCOUNT_LOCKED"
            " MISSING_REQUIRED_HEADER"
        ),
        rate=_codes("TOO_FAST TOO_MANY_REQUESTS"),
        clock=_codes("REQUEST_EXPIRED"),
        no_order=_codes("ORDER_NOT_FOUND CLIENT_ID_NOT_FOUND ORDER_CLOSED ORDER_CANCELLED ORDER_FINISHED"),
        funds=_codes("BALANCE_NOT_ENOUGH MARGIN_BALANCE_NOT_ENOUGH INSUFFICIENT_AVAILABLE"),
    ),
    # Source: mexc.com/api-docs/spot-v3, error code. ccxt takes a refused key or address (10072, 700006) for a bad parameter.
    "mexc": VenueCodes(
        definite=_codes(
            "-1121 -1128 30001 30002 30003 30010 30014 30016 30019 30020 30021 30025 30027 30028 30029 30032 30041"
            " 10007 10015 700004 700008 60005 30087"
        ),
        doubtful=_codes("500 501 503 504 730000 730003"),
        duplicate=_codes("30026"),
        credentials=_codes("401 402 602 10001 10072 10073 700001 700002 700006 700007 700013 30018"),
        rate=_codes("429 510"),
        clock=_codes("700003 700005"),
        no_order=_codes("-2011 -2013 2011 2013 20002"),
        funds=_codes("10101 30004 30005 2005"),
    ),
}
