"""Only what pyproject.toml cannot say: the chunker's C extension, optional and built against the stable ABI."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "syncd.format._cut",
            sources=["syncd/format/_cut.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=["-O3"],
            py_limited_api=True,
            optional=True,  # without a compiler the bit-identical Python twin serves
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
