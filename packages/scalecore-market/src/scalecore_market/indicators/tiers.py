"""The tiers: their features in order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["TIERS"]

_A25 = (
    *("open", "high", "low", "close", "volume"),
    *("dema_9", "dema_10", "dema_20", "dema_25", "dema_90"),
    *("sma_12", "sma_50", "sma_100", "sma_200"),
    *("rsi_14", "rsi_14_weekly", "stochrsi_k", "stochrsi_k_weekly"),
    *("macd", "obv", "adosc", "atr_14", "adx_14", "percent_b_20", "vwap_20"),
)

_A50 = (
    *("return_1d", "return_5d", "return_21d", "return_63d", "return_252d"),
    *("qqe_fast", "qqe_slow", "qqe_spread", "stc", "stc_distance_50"),
    *("variance_risk_premium_10", "variance_risk_premium_21", "implied_realised_ratio_21"),
    *("sharpe_20", "sharpe_60", "sortino_20", "sortino_60"),
    *("rsi_14_slope_5", "rsi_14_extreme_distance"),
    *("price_to_sma_50", "price_to_sma_200", "sma_50_200_proximity"),
    *("atr_percent_14", "atr_percent_slope_5", "bollinger_width_20"),
    *("overnight_gap", "open_to_close", "volume_ratio_20", "kvo_signal", "macd_histogram"),
)

_A100 = (
    # accelerations and slopes
    *("return_5d_acceleration", "return_21d_acceleration", "return_63d_acceleration", "rsi_14_acceleration_5"),
    *("macd_signal", "macd_histogram_slope_5", "stc_slope_5", "qqe_spread_slope_5", "volume_ratio_slope_5"),
    *("sma_50_slope_10", "sma_200_slope_20", "dema_20_slope_5", "trend_slope_20", "trend_slope_60"),
    # tails and losses
    *("var_95_60", "var_95_252", "cvar_95_60", "cvar_95_252"),
    *("skewness_60", "kurtosis_60", "drawdown_252", "downside_deviation_60"),
    # crosses and spreads of averages
    *("sma_12_above_50", "sma_50_above_200", "close_above_sma_200", "macd_above_signal"),
    *("sma_12_50_spread", "dema_10_25_spread", "dema_20_90_spread"),
    # volatility
    *("parkinson_20", "parkinson_60", "garman_klass_20", "garman_klass_60"),
    *("realised_volatility_20", "realised_volatility_60", "volatility_ratio_20_60", "volatility_slope_10"),
    # strength of the trend
    *("adx_slope_5", "directional_spread_14", "aroon_up_25", "aroon_down_25", "aroon_oscillator_25"),
    *("supertrend_up", "supertrend_distance"),
    # volume
    *("obv_slope_20", "vpt", "ad_line", "ad_slope_20"),
    # position of the close
    *("position_in_range_20", "position_in_range_252"),
)

_VIX = (
    *("vix_close", "vix_sma_10", "vix_sma_20", "vix_percentile_60", "vix_zscore_20"),
    *("vix_regime", "vix_change_1", "vix_change_5"),
)

TIERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"a25": _A25, "a50": _A25 + _A50, "a100": _A25 + _A50 + _A100, "vix": _VIX}
)
"""25, 55 and 105 columns, and the 8 of the VIX, which `vix: true` appends."""
