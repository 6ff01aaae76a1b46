# Sourced by the scripts that count instructions: what the C library is told, so that it picks the same functions on any x86-64.
# shellcheck shell=bash disable=SC2034

# Everything that glibc picks functions by. A name that it does not know is ignored.
any_x86=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI1,-BMI2,-LZCNT,-MOVBE,-POPCNT,-SSSE3,-SSE4_1,-SSE4_2
any_x86+=,-ERMS,-FSRM,-RTM,-AVX_Fast_Unaligned_Load,-Fast_Unaligned_Load,-Fast_Unaligned_Copy,-Fast_Copy_Backward
any_x86+=,-Fast_Rep_String,-Slow_BSF,-Slow_SSE4_2,-Prefer_PMINUB_for_stringop,-Prefer_ERMS,-Prefer_FSRM
