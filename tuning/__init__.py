"""Where the Optuna studies will live that tune an extension against its baseline; nothing is here yet."""

if __name__ == "tuning":  # imported by its short name in a checkout
    from sb3_course._alias import alias

    alias("tuning", "sb3_course.tuning")
