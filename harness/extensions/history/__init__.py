"""Run history of one kind of machine in one file, and the steps in its figures: has it become slower?"""
